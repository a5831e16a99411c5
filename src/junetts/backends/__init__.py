"""The built-in backends, one file each; each translates foreign errors at its edge."""
