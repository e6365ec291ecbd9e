"""Tasks in a contract, and the machine and intents that follow from them."""
