"""``python -m fedjax_rl`` is the command line."""

from fedjax_rl.cli import main

raise SystemExit(main())
