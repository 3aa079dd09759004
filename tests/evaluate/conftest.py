from small_models import contract, extractor_file, generator_file  # noqa: F401
