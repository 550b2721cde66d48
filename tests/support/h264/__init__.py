"""H.264 for tests: the reconstruction oracle, and a writer of streams that no encoder at hand makes."""
