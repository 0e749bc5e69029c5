# SPDX-License-Identifier: Apache-2.0
"""Rotation of the profile authentication token of Adobe Target: it rolls forward only, and never loses the
token.
"""
