"""Benchmarks: Terrazzo beside the best peer for each thing that it does, in one run."""
