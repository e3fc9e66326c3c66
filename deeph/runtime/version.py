"""The version of the project, which every file it writes names."""

VERSION = "0.1.0"
