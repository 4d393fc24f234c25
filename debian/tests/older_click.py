"""A plugin of pytest: the test runner of click 8.1 does what that of 8.2 does, for the tests."""

from functools import partialmethod
from inspect import signature

from click.testing import CliRunner, Result

if "mix_stderr" in signature(CliRunner.__init__).parameters:
    CliRunner.__init__ = partialmethod(CliRunner.__init__, mix_stderr=False)  # type: ignore[method-assign,assignment]
    Result.output = property(lambda result: result.stdout + result.stderr)  # type: ignore[assignment,method-assign]
