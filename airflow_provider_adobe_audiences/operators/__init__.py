# SPDX-License-Identifier: Apache-2.0
"""Operators, a module or package for each of Adobe's products."""
