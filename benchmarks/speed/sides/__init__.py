"""Programs that do the work of a case, each in a process of its own: ours, and one for each peer.

A side is called with a folder and prints one line of JSON. In the folder it finds ``data.npz`` with the
training part (``indptr``, ``items``, ``n_items``) and ``settings.json``; it leaves ``lists.npy`` there, the
ten best new items of every user. The line has ``seconds``, one number for each epoch, and ``rss_mb``, the
peak of the memory of the process.
"""
