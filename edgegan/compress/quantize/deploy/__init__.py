"""From a graph in Q/DQ form to the file of an engine, and the proof that the file is its graph."""
