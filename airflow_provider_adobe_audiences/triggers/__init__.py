# SPDX-License-Identifier: Apache-2.0
"""Triggers, a module for each of Adobe's products: what waits while a task is deferred."""
