"""A bus on Kafka, by either of two clients. Imported only by a program that has a bus: the extra ``kafka``."""
