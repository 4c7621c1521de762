"""Tables of valid, ambiguous and malformed HTTP messages. The `test_edge_*` modules send them through Weir."""
