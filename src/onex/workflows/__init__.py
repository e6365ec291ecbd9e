"""Built-in machines: each folder is an app of its own and knows none of its neighbours."""
