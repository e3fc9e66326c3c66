"""From raw DFT output to verified structure folders."""
