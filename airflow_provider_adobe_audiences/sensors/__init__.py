# SPDX-License-Identifier: Apache-2.0
"""Sensors, a module for each of Adobe's products."""
