"""Programs that sample other programs, behind one interface: `base.Profiler`."""
