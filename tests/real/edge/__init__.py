"""Tables of messages with one reading, two, or none; `test_edge_*` runs them through the process."""
