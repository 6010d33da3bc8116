"""What PyInstaller makes the executable of."""

from agent.frozen import main

main()
