"""What quantizing costs, and where: node by node, alone and together."""
