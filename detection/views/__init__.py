"""The pages: each parses, asks one service or selector, and renders."""
