"""python -m nodedevd: the daemon."""

from nodedevd.daemon import main

main()
