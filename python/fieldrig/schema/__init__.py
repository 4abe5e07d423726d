"""JSON Schemas of bench and model files, for editors, written from what the reader knows: see docs/bench-file.md."""
