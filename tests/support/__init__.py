"""What the tests share: encoded and hand-made streams, and slow, obvious twins of the decoder's results."""
