"""The command line: each command is one function, loaded when it is called; the rooms below do the work."""
