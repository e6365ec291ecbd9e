"""Contract text becomes typed values, or findings with line, column and fix. Nothing here reads a file or a clock."""
