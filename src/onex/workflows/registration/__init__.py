"""A node in the directories of a system: registered in Consul and PostgreSQL, kept alive, and taken out again."""
