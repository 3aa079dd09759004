from small_models import extractor_file, generator_file  # noqa: F401
