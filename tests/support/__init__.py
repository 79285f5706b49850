"""What tests share: the embedded servers, free ports, recordings, a browser."""
