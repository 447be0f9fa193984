"""Programs that do the work of a case, each in a process of its own: ours, and one for each peer.

A side is called with a folder and prints one line of JSON. In the folder it finds ``data.npz`` with the
training part (``indptr``, ``items``, ``n_items``), perhaps a validation part (``valid_indptr``,
``valid_items``) and what else the case says, and ``settings.json``. It leaves ``lists.npy`` there, the ten
best new items of every user. The line has ``seconds``, one number for each epoch or pass or one for all,
``rss_mb``, the peak of the memory of the process, and ``epochs`` where the one number is of several.
"""
