"""The formats of an answer: each takes the plain data that `service` gives, and decides nothing."""
