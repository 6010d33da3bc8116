"""What PyInstaller makes the executable of."""

from agent.executable import main

main()
