"""How the tests that look for a counter-example search: the same few examples in every run."""

from hypothesis import HealthCheck, settings

# The folder of a test is the same for all its examples: each writes its file anew.
quick = settings(
    derandomize=True,
    deadline=None,
    database=None,
    max_examples=60,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
