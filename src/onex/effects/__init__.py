"""Built-in effects: what a contract's ``targets:`` names, done against the real thing, without a function of the user's."""
