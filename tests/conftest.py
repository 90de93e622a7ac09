"""Properties are tried on the same examples in every run, so that a run says what the change did and not what chance did; and
without a deadline, which says how busy the machine is.

`HYPOTHESIS_PROFILE=explore make unit` looks for new ones.
"""

import os

from hypothesis import settings

settings.register_profile("steady", derandomize=True, deadline=None)
settings.register_profile("explore", deadline=None)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "steady"))
