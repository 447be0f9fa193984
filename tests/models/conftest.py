import pytest

# Failed assertions of the contract shall show their values, as those of a test module do.
pytest.register_assert_rewrite("tests.models.contract")
