//! The binding: conversion, releasing the GIL, exceptions. No logic.
