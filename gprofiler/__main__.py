from agent.cli import main
from gprofiler.resources import find_resources

find_resources()
main()
