"""Codec-aligned sparse video tokens from HEVC motion and residuals."""
