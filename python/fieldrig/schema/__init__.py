"""JSON Schemas of bench and model files, for editors. They are written from what the reader knows; see docs/bench-file.md."""
