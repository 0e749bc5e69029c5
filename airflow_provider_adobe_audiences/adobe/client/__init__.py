# SPDX-License-Identifier: Apache-2.0
"""How a call travels: as a value, under one policy, in one flow, by one of two drivers."""
