//! How clients talk to nodes: protocol files and the transports they name.
