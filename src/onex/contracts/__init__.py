"""The promise: contract text becomes typed values, or findings with line, column and mend. Text in, values out."""
