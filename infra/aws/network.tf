# What cluster/aws.yaml names: nodes talk to each other and to S3; people come by SSH from one network. Ray's ports are open to nobody else.
resource "aws_security_group" "ray" {
  name        = "distill-ray"
  description = "Nodes of a Ray: all among themselves, SSH from inside."
  vpc_id      = var.vpc_id
}

resource "aws_vpc_security_group_ingress_rule" "each_other" {
  security_group_id            = aws_security_group.ray.id
  description                  = "Ray among its nodes"
  referenced_security_group_id = aws_security_group.ray.id
  ip_protocol                  = "-1"
}

resource "aws_vpc_security_group_ingress_rule" "ssh" {
  security_group_id = aws_security_group.ray.id
  description       = "ray up, and tunnels to the dashboard"
  cidr_ipv4         = var.ssh_cidr
  ip_protocol       = "tcp"
  from_port         = 22
  to_port           = 22
}

resource "aws_vpc_security_group_egress_rule" "out" {
  security_group_id = aws_security_group.ray.id
  description       = "Images, packages, S3"
  cidr_ipv4         = "0.0.0.0/0"
  ip_protocol       = "-1"
}

resource "aws_vpc_endpoint" "s3" {
  vpc_id            = var.vpc_id
  service_name      = "com.amazonaws.${var.region}.s3"
  vpc_endpoint_type = "Gateway"
  route_table_ids   = var.route_table_ids
}
