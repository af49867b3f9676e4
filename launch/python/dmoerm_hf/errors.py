"""The error of this package."""


class BundleError(ValueError):
    """A bundle that cannot be read, or a text that cannot be scored. The message names the file or the value and what to do."""
