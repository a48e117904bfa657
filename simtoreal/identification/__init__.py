"""What ordinary logs say about an arm and its camera: latencies, response, jaws; and the simulator that follows."""
