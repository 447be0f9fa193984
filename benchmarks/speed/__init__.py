"""How long this library and others take for the same work, in turn, on the machine at hand."""
