"""The tools that make the book: `make help` lists what they are for."""
