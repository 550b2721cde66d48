"""A small writer of H.265 syntax, for streams that no encoder makes: the caller chooses every syntax element."""
