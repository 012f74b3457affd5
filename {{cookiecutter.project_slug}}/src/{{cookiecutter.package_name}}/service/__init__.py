"""The shipped model over HTTP, and its signature."""
