"""What a folder, a dataset, a DFT run or a model file holds, and whether it is sound: the checks behind ``deeph-inspect``."""
