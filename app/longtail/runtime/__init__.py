"""Ray and the machine: starting or joining Ray, its workers, memory limits, and the checks of `longtail doctor`."""
